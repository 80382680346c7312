"""The macros that the page is made of."""

TEXT = r"""
{% from "inversion.html" import claims with context %}
{% macro short_story(page) %}
<article class="card">
  <h3><a href="#{{ page.key }}">{{ page.label }}</a></h3>
  {% for sentence in page.requests %}<p class="soft">{{ sentence }}</p>{% endfor %}
  <div class="tiles">
    {% for tile in page.tiles %}
    <div class="tile"><span class="topic">{{ tile.topic }}</span><strong>{{ tile.value }}</strong><span class="about">{{ tile.note }}</span></div>
    {% endfor %}
  </div>
  {% for figure in page.figures if figure.galleries %}{% if loop.first %}
  {% set shown = (figure.galleries if figure.finds == "images" else figure.galleries[:1]) | sum(attribute="pairs", start=()) %}
  <div class="strip">
    {% for pair in (shown | rejectattr("mean") | list)[:5] %}<div class="pair"><img src="{{ pair.original }}" alt="training image"><img src="{{ pair.rebuilt }}" alt="rebuilt image"></div>{% endfor %}
  </div>
  <p class="note-line">Above: training pictures. Below: what {{ figure.attack }} made of them{% if figure.source %} ({{ figure.source }}){% endif %}.</p>
  {% endif %}{% endfor %}
</article>
{% endmacro %}

{% macro cell(page) %}
<section id="{{ page.key }}">
<h2>{{ page.label }}</h2>

<h3>The federation</h3>
<div class="halves">
  <dl class="facts">{% for name, text in page.facts %}<dt>{{ name }}</dt><dd>{{ text }}</dd>{% endfor %}</dl>
  {% if page.holdings %}
  <figure>{{ page.holdings }}<figcaption>Who holds what: training samples of each class (columns) at each client (rows). The stronger the colour, the more.</figcaption></figure>
  {% endif %}
</div>

{% if page.timeline %}
<h3>What happened</h3>
{% for sentence in page.requests %}<p>{{ sentence }}</p>{% endfor %}
<figure>{{ page.timeline }}
<figcaption>One lane per branch, over its rounds. After the request the run splits: each branch goes on from the same model, but the retrained ones, which start anew at round 1 without the forgotten data. Rings: rounds in which the observer attacked an update.</figcaption></figure>
{% endif %}

{% if page.observers %}
<h3>What the observer was allowed to see</h3>
<div class="halves">
{% for observer in page.observers %}
  <div>
  <p>{{ observer.sentence }}</p>
  <ul class="sees">{% for text, given in observer.sees %}<li{% if not given %} class="no"{% endif %}>{{ text }}</li>{% endfor %}</ul>
  {% if observer.knows %}<p class="soft">It also knows: {{ observer.knows | join("; ") }}.</p>{% endif %}
  </div>
{% endfor %}
</div>
<p class="soft">It is not told the answers: the true samples, labels and forgotten classes lie in files that only the judge opens. If an attack was granted a part of the truth, that is said with its finding.</p>
{% endif %}

{% if page.figures %}
<h3>What it found</h3>
{% for figure in page.figures if figure.finds != "revival" or figure.albums %}{{ found(figure) }}{% endfor %}
{% set revived = page.figures | selectattr("finds", "equalto", "revival") | rejectattr("albums") | list %}
{% if revived %}<details><summary>What was pruned: {{ revived | length }} attacks in words</summary>{% for figure in revived %}{{ found(figure) }}{% endfor %}</details>{% endif %}
{% endif %}

{% if page.scores %}
<h3>Against chance, against no attack, against the control</h3>
<p class="soft">A score means nothing alone. <b>Chance</b> is a random answer, <b>no attack</b> the best trivial answer, <b>control</b> the same attack where nothing was forgotten, <b>retrained</b> the same attack on a model that never saw the forgotten data.</p>
{{ score_table(page.scores | selectattr("main") | list) }}
<details><summary>All {{ page.scores | length }} scores</summary>{{ score_table(page.scores) }}</details>
{% endif %}

{% if page.branches %}
<h3>What forgetting did to the model</h3>
{% if page.forgetting %}<p>{{ page.forgetting }}</p>{% endif %}
{% if page.curves %}
<ul class="legend">{% for name, style in page.legend %}<li class="{{ style }}"><i></i><b>{{ name }}</b></li>{% endfor %}</ul>
<div class="halves">
{% for title, chart in page.curves %}<figure><h4>{{ title }}</h4>{{ chart }}</figure>{% endfor %}
</div>
{% endif %}
{% set planted = page.branches | selectattr("backdoor") | list %}
<div class="scroll"><table>
<tr><th>model</th><th></th><th class="n">forgotten</th><th class="n">retained</th><th class="n">test</th>{% if planted %}<th class="n">backdoor</th>{% endif %}<th class="n">extra rounds</th><th class="n">time</th><th class="n">sent</th><th>SHA-256 of the weights</th></tr>
{% for branch in page.branches %}
<tr><td class="{{ branch.style }}"><b>{{ branch.id }}</b></td><td class="soft">{{ branch.meaning }}</td>{% for accuracy in branch.accuracies %}<td class="n">{{ accuracy }}</td>{% endfor %}{% if planted %}<td class="n">{{ branch.backdoor }}</td>{% endif %}<td class="n">{{ branch.rounds }}</td><td class="n">{{ branch.seconds }}</td><td class="n">{{ branch.megabytes }}</td><td><code title="{{ branch.sha256 }}">{{ branch.sha256[:12] }}</code></td></tr>
{% endfor %}
</table></div>
<p class="soft">Accuracy on the forgotten training samples, on the retained ones, and on test samples. Good forgetting looks like "retrain".{% if planted %} Backdoor: test samples of other classes that the trigger turns into its class.{% endif %}</p>
{% if page.classes %}
<figure>{{ page.classes }}<figcaption>Test accuracy (percent) by class and model: the forgotten class shows as a gap.</figcaption></figure>
{% endif %}
{% endif %}
{% for why in page.left_out %}
<p class="soft">Left out, {{ why }}.</p>
{% endfor %}
{% if page.failures %}
<details><summary>{{ page.failures | length }} client failures</summary><ul class="soft">{% for failure in page.failures %}<li>{{ failure }}</li>{% endfor %}</ul></details>
{% endif %}
</section>
{% endmacro %}

{% macro found(figure) %}
<h4>{{ {"labels": "Labels", "images": "Pictures", "forgotten-classes": "The forgotten class", "membership": "Who was forgotten", "forgotten-images": "The forgotten pictures", "revival": "What was pruned", "class-images": "Pictures of classes"}[figure.finds] }}: {{ figure.attack }}</h4>
<p>{{ figure.sentence }}</p>
{% if figure.galleries %}
{% for gallery in figure.galleries[:6] %}{{ shelf(gallery) }}{% endfor %}
{% if figure.galleries[6:] %}<details><summary>{{ figure.galleries | length - 6 }} more batches</summary>{% for gallery in figure.galleries[6:] %}{{ shelf(gallery) }}{% endfor %}</details>{% endif %}
<p class="soft">Above the original, below what was rebuilt, with its PSNR: the higher the closer, from {{ figure.threshold }} dB on (bold) a picture counts as rebuilt. Behind the line the mean of the batch: when it is closer than its members, their pictures came back fused. {% if figure.finds == "forgotten-images" %}Dashed: controls, where nothing of it was forgotten; classes are those that the attack claims.{% endif %}</p>
{% endif %}
{% if figure.prototypes %}
{% for shelf in figure.prototypes[:4] %}{{ classes(shelf) }}{% endfor %}
{% if figure.prototypes[4:] %}<details><summary>{{ figure.prototypes | length - 4 }} more branches</summary>{% for shelf in figure.prototypes[4:] %}{{ classes(shelf) }}{% endfor %}</details>{% endif %}
<p class="soft">What the attack takes for a typical picture of each class; framed: the forgotten class, marked after the fact. Dashed: controls, where none was forgotten.</p>
{% endif %}
{% for album in figure.albums %}{{ portraits(album) }}{% endfor %}
{% if figure.claims %}{{ claims(figure.claims) }}{% endif %}
{% if figure.panels %}
<div class="panels">{% for panel in figure.panels[:6] %}{{ small(panel) }}{% endfor %}</div>
{% if figure.panels[6:] %}<details><summary>{{ figure.panels | length - 6 }} more</summary><div class="panels">{% for panel in figure.panels[6:] %}{{ small(panel) }}{% endfor %}</div></details>{% endif %}
{% if figure.finds == "labels" %}<p class="soft"><span class="key" style="background: var(--c5); opacity: .6"></span>in the batch <span class="key" style="background: var(--c1)"></span>found</p>{% endif %}
{% if figure.finds == "forgotten-classes" %}<p class="soft">One bar per class, all panels on the same scale; higher means "more likely forgotten". <span class="key" style="background: var(--c2)"></span>truly forgotten, marked after the fact. Dashed panels are controls, where there is nothing to find. Of class shares: <span class="key" style="background: var(--c5); opacity: .6"></span>of what was forgotten <span class="key" style="background: var(--c1)"></span>claimed.</p>{% endif %}
{% if figure.finds == "membership" %}<p class="soft">Scores of <span class="key" style="background: var(--c2)"></span>forgotten samples and <span class="key" style="background: var(--c1)"></span>samples never trained on. Where the two lie on each other, nothing leaks.</p>{% endif %}
{% endif %}
{% endmacro %}

{% macro portraits(album) %}
<figure class="shelf{% if album.quiet %} quiet{% endif %}">
<figcaption>{{ album.heading }}{% if not album.quiet %}; framed: what was to be forgotten{% endif %}. All models begin with the same noise.</figcaption>
<div class="albums">{% for caption, picture in album.models %}<div><img src="{{ picture }}" alt="images generated {{ caption }}"><span>{{ caption }}</span></div>{% endfor %}</div>
</figure>
{% endmacro %}

{% macro classes(shelf) %}
<figure class="shelf{% if shelf.quiet %} quiet{% endif %}">
<figcaption>{{ shelf.heading }}</figcaption>
<div class="pairs small">{% for tile in shelf.tiles %}<div class="pair{% if tile.forgotten %} yes forgotten{% endif %}"><img src="{{ tile.picture }}" alt="prototype of {{ tile.caption }}"><span>{{ tile.caption }}{% if tile.forgotten %}, forgotten{% endif %}</span></div>{% endfor %}</div>
</figure>
{% endmacro %}

{% macro shelf(gallery) %}
<figure class="shelf{% if gallery.quiet %} quiet{% endif %}">
<figcaption>{{ gallery.heading }}</figcaption>
<div class="pairs">{% for pair in gallery.pairs %}<div class="pair{% if pair.recognisable %} yes{% endif %}{% if pair.mean %} mean{% endif %}" title="{{ pair.measures }}"><img src="{{ pair.original }}" alt="{{ "mean training image" if pair.mean else "training image" }}"><img src="{{ pair.rebuilt }}" alt="{{ "mean rebuilt image" if pair.mean else "rebuilt image" }}"><span>{{ pair.caption }}</span></div>{% endfor %}</div>
</figure>
{% endmacro %}

{% macro probes(tables) %}
<section id="probes">
<h2>Probes</h2>
<p class="soft">A probe is one more real round from a checkpoint, watched beside the run. A line per probe, an attack per column; bold: the best attack of the line. The first column of figures is what needs no attack. All measures, counts and settings are in <code>leakage.csv</code>.</p>
{% for table in tables %}
<h3>{{ {"labels": "Labels", "images": "Pictures"}[table.finds] }}</h3>
<p class="soft">{% if table.finds == "labels" %}Share of the labels recovered (IRec), in brackets the share of updates with every count right, both in percent.{% else %}PSNR in dB, in brackets the share of images rebuilt recognisably, in percent.{% endif %} A pointer resting on a figure shows its interval.</p>
<div class="scroll"><table class="dense">
<tr><th>probe</th><th class="n">n</th><th class="n">{{ "uniform guess" if table.finds == "labels" else "no attack" }}</th>{% for name, source in table.attacks %}<th class="n">{{ name }}{% if source %}<br><span class="soft">{{ source_words(source) }}</span>{% endif %}</th>{% endfor %}{% if table.counted %}<th class="n">to go by</th>{% endif %}</tr>
{% for line in table.lines %}
{% if line.group and (loop.first or loop.previtem.group != line.group) %}<tr class="first"><td colspan="{{ 3 + table.attacks | length + table.counted }}"><b>{{ line.group }}</b></td></tr>{% endif %}
<tr><td>{{ line.probe }}</td><td class="n">{{ line.n }}</td><td class="n soft">{{ two(table.finds, *line.baseline) }}</td>{% for cell in line.cells %}{% if cell %}<td class="n{% if cell[0].best %} big{% endif %}" title="{{ cell[0].metric }} {{ formats.span(cell[0].metric, [cell[0].ci_low, cell[0].ci_high]) }}{% if cell[0].reason %}; {{ cell[0].reason }}{% endif %}">{{ two(table.finds, cell[0].value, cell[1].value) }}</td>{% else %}<td></td>{% endif %}{% endfor %}{% if table.counted %}<td class="n soft">{{ line.counting }}</td>{% endif %}</tr>
{% endfor %}
</table></div>
{% endfor %}
{% if tables[0].skipped %}<details><summary>Probes that left clients out: {{ tables[0].skipped | length }}</summary><ul class="soft">{% for line in tables[0].skipped %}<li>{{ line }}</li>{% endfor %}</ul></details>{% endif %}
</section>
{% endmacro %}

{% macro small(panel) %}
<div class="panel{% if panel.quiet %} quiet{% endif %}"><p class="head">{{ panel.heading }}</p>{{ panel.drawing }}<p class="note-line">{{ panel.note }}</p></div>
{% endmacro %}

{% macro score_table(scores) %}
<div class="scroll"><table>
<tr><th>attack</th><th>after</th><th>measure</th><th class="n">value</th><th class="n">n</th><th class="n">95 % interval</th><th class="n">chance</th><th class="n">no attack</th><th class="n">control</th><th class="n">retrained</th></tr>
{% for row in scores %}
{% set new = loop.first or loop.previtem.attack != row.attack %}
<tr{% if new and not loop.first %} class="first"{% endif %}><td>{{ row.attack if new }}{% if new and row.labels %}<br><span class="soft">{{ row.labels }}</span>{% endif %}</td><td>{{ row.branch }}</td><td>{{ row.metric }}</td><td class="n big">{{ row.value }}</td><td class="n">{{ row.n }}</td><td class="n">{{ row.interval }}</td>{% for text in row.compared %}<td class="n">{{ text }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endmacro %}

{% macro summary_tables(summary) %}
<section id="summary">
<h2>Over all {{ cells }} cells</h2>
<p class="soft">Cells that differ only in their seed are repeated trials. Dots are means, lines 95 % intervals (Wilson for shares, bootstrap for means), <span style="color: var(--warn)">ticks</span> mark chance, for labels the uniform guess.</p>
{% for title, chart in rates %}<figure><h4>{{ title }}</h4>{{ chart }}</figure>{% endfor %}
{% if summary.alarms %}
<h3>False alarms</h3>
<p class="soft">How often an attack names a class where none was forgotten. The p-value is that of the rate not being above the nominal level, corrected for all rows (Holm). On "absent" a class does stay away for a while, though nobody asked for it: there attacks on streams may honestly be fooled.</p>
{% if summary.alarms | length > few %}<details><summary>{{ summary.alarms | length }} rates</summary>{% endif %}
<div class="scroll"><table>
<tr><th>cells</th><th>attack</th><th>on</th><th class="n">alarms</th><th class="n">rate</th><th class="n">95 % interval</th><th class="n">nominal</th><th class="n">p (Holm)</th></tr>
{% for row in summary.alarms %}
<tr><td>{{ row.group }}</td><td>{{ row.attack }}</td><td>{{ row.on }}</td><td class="n">{{ row.alarms }} of {{ row.n }}{% if row.failed %} ({{ row.failed }} failed){% endif %}</td><td class="n big">{{ formats.percent(row.rate) }}</td><td class="n">{{ formats.span("false-alarm", row.ci) }}</td><td class="n">{{ formats.percent(row.nominal) }}</td><td class="n{% if row.above_nominal %} big{% endif %}">{{ formats.DASH if row.p_holm is none else "%.2g" % row.p_holm }}{% if row.above_nominal %}, above{% endif %}</td></tr>
{% endfor %}
</table></div>
{% if summary.alarms | length > few %}</details>{% endif %}
{% endif %}
{% if summary.separation %}
<h3>Request against control</h3>
<p class="soft">AUC of an attack's highest score, request against control and placebo: 1 means that one look at the score tells whether a class was forgotten.</p>
{% if summary.separation | length > few %}<details><summary>{{ summary.separation | length }} areas</summary>{% endif %}
<div class="scroll"><table>
<tr><th>cells</th><th>attack</th><th>after</th><th class="n">AUC</th><th class="n">95 % interval</th><th class="n">n, request + control</th></tr>
{% for row in summary.separation %}
<tr><td>{{ row.group }}</td><td>{{ row.attack }}</td><td>{{ row.branch }}</td><td class="n big">{{ formats.amount("auc", row.auc) }}</td><td class="n">{{ formats.span("auc", row.ci) }}</td><td class="n">{{ row.n[0] }} + {{ row.n[1] }}</td></tr>
{% endfor %}
</table></div>
{% if summary.separation | length > few %}</details>{% endif %}
{% endif %}
{% if accuracies %}
<h3>The models</h3>
<div class="scroll"><table>
<tr><th>cells</th><th>model</th><th class="n">forgotten</th><th class="n">retained</th><th class="n">test</th><th class="n">retained, above retraining</th></tr>
{% for row in accuracies %}
<tr><td>{{ row.group }}</td><td>{{ row.branch }}</td><td class="n">{{ row.forget_accuracy }}</td><td class="n">{{ row.retain_accuracy }}</td><td class="n">{{ row.test_accuracy }}</td><td class="n">{{ row.above }}</td></tr>
{% endfor %}
</table></div>
{% endif %}
<details><summary>{% if summary.rows | length > most %}The first {{ most }} of {% else %}All {% endif %}{{ summary.rows | length }} rates and means{% if summary.rows | length > most %}; all of them are in summary.csv{% endif %}</summary>
<div class="scroll"><table>
<tr><th>cells</th><th>attack</th><th>after</th><th>measure</th><th class="n">value</th><th class="n">n</th><th class="n">95 % interval</th><th class="n">chance</th><th class="n">no attack</th><th class="n">control</th><th class="n">retrained</th><th class="n">p (Holm)</th></tr>
{% for row in summary.rows[:most] %}
<tr><td>{{ row.group }}</td><td>{{ row.attack }}{% if row.label_source %}<br><span class="soft">{{ source_words(row.label_source) }}</span>{% endif %}</td><td>{{ row.branch }}</td><td>{{ row.metric }}</td><td class="n big">{{ formats.amount(row.metric, row.value) }}</td><td class="n">{{ row.n }}{% if row.failed %} ({{ row.failed }} failed){% endif %}</td><td class="n">{{ formats.span(row.metric, row.ci) }}</td><td class="n">{{ formats.amount(row.metric, row.chance) }}</td><td class="n">{{ formats.amount(row.metric, row.baseline) }}</td><td class="n">{{ formats.amount(row.metric, row.control) }}</td><td class="n">{{ formats.amount(row.metric, row.oracle) }}</td><td class="n">{{ formats.DASH if row.p_holm is none else "%.2g" % row.p_holm }}</td></tr>
{% endfor %}
</table></div></details>
</section>
{% endmacro %}

{% macro how_to_read() %}
<section id="reading">
<h2>How to read this</h2>
<p>In a <b>federation</b> many clients train one model together: each keeps its data and sends only an <b>update</b> (a gradient or new weights), which a server averages. Somebody may later ask that data be forgotten. The server then <b>unlearns</b>: it changes the model as if the data had never been there. The safest way is to <b>retrain</b> from the start, and everything else is measured against that.</p>
<p>This report asks what an <b>observer</b>, who sees a stated part of all this, can find out: which labels and pictures were behind an update, which class was forgotten, which samples.</p>
<dl class="facts">
<dt>control</dt><dd>the same extra rounds with nothing forgotten. An attack that "finds" something here is guessing.</dd>
<dt>placebo</dt><dd>a request of the same size, spread over all classes: separates "something was forgotten" from "this class was forgotten".</dd>
<dt>absent</dt><dd>nothing is asked for, but for some rounds nobody who takes part holds a certain class.</dd>
<dt>retrain</dt><dd>trained from the same start without the forgotten data; "other init": from another start.</dd>
<dt>interval</dt><dd>where the true value lies in 95 of 100 repetitions. With n = 1 it is wide, as it should be.</dd>
<dt>{{ formats.DASH }}</dt><dd>not known, does not apply, or failed. A failed score is never counted as 0.</dd>
</dl>
{% if glossary %}
<h3>The measures</h3>
<dl class="facts">{% for name, text in glossary.items() %}<dt>{{ name }}</dt><dd>{{ text }}</dd>{% endfor %}</dl>
{% endif %}
</section>
{% endmacro %}
"""
