"""What classes were forgotten?"""
