"""The section of the page about what was pruned, and what came back."""

TEXT = r"""
{% from "classes.html" import charted with context %}
{% macro revived(tables) %}
<section id="revival">
<h2>Is what was pruned still there?</h2>
<p class="soft">A pruned model is attacked without any data: what was cut out is put back, and all is judged on images that nobody trained on. A revival is more than a false alarm when few other images are called the erased class (FPR) and most of its calls are right (precision). The last rows recover no pruned weight: <b>what they reach as well, a revival does not prove.</b></p>
{% for table in tables %}
{% if table.folded %}<details><summary>{{ table.title }}</summary>{% else %}<h3>{{ table.title }}</h3>{% endif %}
<figure class="scroll">{{ table.bars }}<figcaption>{{ table.caption }}</figcaption></figure>
<div class="scroll"><table class="dense">
<tr><th>model</th><th class="n">n</th>{% for heading, meaning in table.columns %}<th class="n" title="{{ meaning }}">{{ heading }}</th>{% endfor %}</tr>
{% for section in table.sections %}
<tr class="first"><td colspan="{{ 2 + table.columns | length }}"><b>{{ section.heading }}</b></td></tr>
{% for line in section.lines %}
<tr><td>{{ line.name }}{% if line.note %}<br><span class="spread">{{ line.note }}</span>{% endif %}</td><td class="n">{{ line.n }}</td>{% for figure in line.figures %}<td class="n{% if loop.first %} big{% endif %}">{{ figure.text }}{% if figure.interval %}<br><span class="spread">{{ figure.interval }}</span>{% endif %}</td>{% endfor %}</tr>
{% endfor %}
{% endfor %}
</table></div>
{% for sentence in table.silence %}<p class="note-line">{{ sentence }}</p>{% endfor %}
{% if table.growth %}<div class="charts">{{ charted(table.growth) }}</div>{% endif %}
{% if table.folded %}</details>{% endif %}
{% endfor %}
<p class="soft">n: {{ "images of the erased class + of the others" if tables[0].trials == 1 else "runs that gave an answer; figures are their means" }}; figures of weights have their own. Below each figure its 95 % interval. {{ mark }}: was told, or kept, a part of the truth.</p>
<dl class="facts">{% for heading, meaning in (tables | map(attribute="columns") | sum(start=()) | unique) %}<dt>{{ heading }}</dt><dd>{{ meaning }}</dd>{% endfor %}</dl>
</section>
{% endmacro %}
"""
