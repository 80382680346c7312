"""The section of the page about pictures of classes, and the galleries of a cell."""

TEXT = r"""
{% macro inverted(tables, overviews) %}
<section id="inversion">
<h2>What does the model show of its classes?</h2>
<p class="soft">Pictures made from the model alone are judged by a classifier of the judge's own, and held against the private samples. Accuracy alone overstates: a picture may fool two classifiers and look like nobody. {{ surrogate }} Fresh samples show what knowing the classes gives without any private sample; only what is above them gives somebody away.</p>
{% for table in overviews %}
<h3>{{ table.title }}</h3>
<div class="scroll"><table class="dense">
<tr><th>attack</th><th class="n">n</th>{% for model in table.models %}<th class="n">{{ model.name }}</th>{% endfor %}</tr>
{% for row in table.rows %}
<tr><td>{{ row.attack }}</td><td class="n">{{ row.n }}</td>{% for cell in row.cells %}<td class="n" title="{{ cell.words }}">{{ cell.text }}{% if cell.below %}<br><span class="spread">{{ cell.below }}</span>{% endif %}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
<p class="soft">Accuracy, and below it coverage. A pointer resting on a figure shows the other measures and its own n; fresh samples are as many as pictures.</p>
{% endfor %}
{% for table in tables %}
{% if table.folded %}<details><summary>{{ table.title }}</summary>{% else %}<h3>{{ table.title }}</h3>{% endif %}
{% if table.bars %}<figure class="scroll">{{ table.bars }}<figcaption>{{ table.caption }}</figcaption></figure>{% endif %}
<div class="scroll"><table class="dense">
<tr><th>model</th><th class="n">n</th>{% for heading, meaning in table.columns %}<th class="n" title="{{ meaning }}">{{ heading }}</th>{% endfor %}</tr>
{% for line in table.lines %}
<tr{% if not line.reference and not loop.first and loop.previtem.reference %} class="first"{% endif %}><td>{% if line.reference %}<span class="soft">{{ line.name }}</span>{% else %}{{ line.name }}{% endif %}{% if line.note %}<br><span class="spread">{{ line.note }}</span>{% endif %}</td><td class="n">{{ line.n }}</td>{% for figure in line.figures %}<td class="n">{{ figure.text }}{% if figure.interval %}<br><span class="spread">{{ figure.interval }}</span>{% endif %}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% if table.evaluator %}<p class="soft">{{ table.evaluator }}</p>{% endif %}
{% if table.folded %}</details>{% endif %}
{% endfor %}
<p class="soft">n: {{ "pictures (accuracy, KNN distance) / private samples (coverage, ddcs-surrogate)" if tables[0].trials == 1 else "runs that gave an answer; figures are their means" }}. Below each figure its 95 % interval. First what methods are held against: public pictures at random, fresh samples of the classes, the model before forgetting, the control, the retrained model.</p>
<dl class="facts">{% for heading, meaning in tables[0].columns %}<dt>{{ heading }}</dt><dd>{{ meaning }}</dd>{% endfor %}</dl>
</section>
{% endmacro %}

{% macro claims(galleries) %}
{% for gallery in galleries[:4] %}{{ claim_shelf(gallery) }}{% endfor %}
{% if galleries[4:] %}<details><summary>{{ galleries | length - 4 }} more branches</summary>{% for gallery in galleries[4:] %}{{ claim_shelf(gallery) }}{% endfor %}</details>{% endif %}
<p class="soft">Above what the attack takes for a picture of the class, the surest first; below the private sample of that class that it comes closest to in the features of the judge's classifier, found after the fact. Framed: forgotten classes. Dashed: nothing was forgotten.</p>
{% endmacro %}

{% macro claim_shelf(gallery) %}
<figure class="shelf{% if gallery.quiet %} quiet{% endif %}">
<figcaption>{{ gallery.heading }}</figcaption>
<div class="pairs small">{% for claim in gallery.claims %}<div class="pair{% if claim.forgotten %} forgotten{% endif %}" title="{{ claim.about }}"><img src="{{ claim.picture }}" alt="claimed picture of {{ claim.caption }}"><img src="{{ claim.nearest }}" alt="nearest private sample"><span>{{ claim.caption }}{% if claim.forgotten %}, <b>forgotten</b>{% endif %}{% if claim.wrong %}<br>taken for {{ claim.wrong }}{% endif %}</span></div>{% endfor %}</div>
</figure>
{% endmacro %}
"""
