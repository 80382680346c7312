"""What an attacker takes images to look like: small generators that were trained on public ones."""
