"""The section of the page about a suite of methods."""

TEXT = r"""
{% macro methods(suites) %}
<section id="methods">
<h2>The methods</h2>
<p class="soft">What each method forgot, what it kept, and what that cost, beside the model before forgetting, the retrained models and the control. Good forgetting looks like "retrain" and costs less.</p>
{% for suite in suites %}
<h3>{{ suite.title }}</h3>
<figure>{{ suite.picture }}
<figcaption>The closer to where the dashed lines cross, the more a model is like the retrained one. There differences are drawn to scale, further off by their logarithm. A pointer resting on a dot shows its figures.</figcaption></figure>
<div class="scroll"><table class="dense">
<tr><th>method</th>{% for column in suite.columns %}<th class="n" title="{{ column.meaning }}">{{ column.heading }}</th>{% endfor %}</tr>
{% for row in suite.rows %}
<tr{% if not row.reference and not loop.first and loop.previtem.reference %} class="first"{% endif %}><td>{% if row.best %}<b>{{ row.name }}</b> *{% elif row.reference %}<span class="soft">{{ row.name }}</span>{% else %}{{ row.name }}{% endif %}</td>{% for cell in row.cells %}<td class="n">{{ cell.text }}{% if cell.spread %} <span class="spread">±{{ cell.spread }}</span>{% endif %}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
<p class="soft">{{ suite.reading }}</p>
{% endfor %}
<dl class="facts">{% for column in (suites | map(attribute="columns") | sum(start=()) | unique(attribute="measure")) %}<dt>{{ column.heading }}</dt><dd>{{ column.meaning }}</dd>{% endfor %}</dl>
</section>
{% endmacro %}
"""
