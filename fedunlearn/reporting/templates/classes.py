"""The section of the page about attacks on the forgotten class, over all cells."""

TEXT = r"""
{% macro forgotten_classes(blocks, delays, partials) %}
<section id="classes">
<h2>Which class was forgotten?</h2>
{% if blocks %}
<p class="soft">Every attack (line) after every unlearning method (column), retrained models last, and beside that how often it names a class where none was to be forgotten. A high figure with many false alarms means nothing. A pointer resting on a figure shows its interval.</p>
{% for block in blocks %}
{% if block.title %}<h3>{{ block.title }}</h3>{% endif %}
<figure class="scroll">{{ block.drawing }}<figcaption>{{ block.caption }}</figcaption></figure>
{% endfor %}
{% endif %}
{% if delays %}
<h3>How soon</h3>
<p class="soft">Attacks on a stream of rounds: the share of trials in which the named classes are right from that round on, and stay so. In brackets: the share of rounds before the request with a false alarm. <span style="color: var(--warn)">Dashes</span>: naming at random. Of many groups and methods the first are drawn; all curves are in summary.json.</p>
<div class="charts">{% for chart in delays %}{{ charted(chart) }}{% endfor %}</div>
{% endif %}
{% if partials %}
<h3>From how little</h3>
<p class="soft">Over the share of what the request names that it asks to forget; lines are 95 % intervals, <span style="color: var(--warn)">dashes</span> chance. Of many groups and methods the first are drawn.</p>
<div class="charts">{% for chart in partials %}{{ charted(chart) }}{% endfor %}</div>
{% endif %}
</section>
{% endmacro %}

{% macro charted(chart) %}
<figure><h4>{{ chart.title }}</h4>
{{ chart.drawing }}
<ul class="legend">{% for name, style in chart.legend %}<li class="{{ style }}"><i></i><b>{{ name }}</b></li>{% endfor %}</ul>
<figcaption>{{ chart.caption }}</figcaption></figure>
{% endmacro %}
"""
