"""The page of report.html."""

TEXT = r"""
{% from "parts.html" import short_story, cell, summary_tables, probes, how_to_read with context %}
{% from "suite.html" import methods with context %}
{% from "classes.html" import forgotten_classes with context %}
{% from "revival.html" import revived with context %}
{% from "inversion.html" import inverted with context %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
{% include "report.css" %}
</style>
</head>
<body>
<header class="top">
  <p class="over">When a federation forgets, what does it give away?</p>
  <h1>{{ title }}</h1>
  {% if description %}<p class="lead">{{ description.strip() }}</p>{% endif %}
  <nav>
    {% if summary %}<a href="#summary">Over all {{ cells }} cells</a>{% endif %}
    {% if blocks or delays or partials %}<a href="#classes">Which class was forgotten?</a>{% endif %}
    {% if revivals %}<a href="#revival">What was pruned</a>{% endif %}
    {% if inversions %}<a href="#inversion">Pictures of classes</a>{% endif %}
    {% if suites %}<a href="#methods">The methods</a>{% endif %}
    {% if tables %}<a href="#probes">Probes</a>{% endif %}
    {% for page in pages %}<a href="#{{ page.key }}">{{ page.label }}</a>{% endfor %}
    <a href="#reading">How to read this</a>
  </nav>
</header>
<main>
{% if pages %}
<section class="cards" aria-label="The findings in short">
  {% for page in pages %}{{ short_story(page) }}{% endfor %}
</section>
{% endif %}
{% if blocks or delays or partials %}{{ forgotten_classes(blocks, delays, partials) }}{% endif %}
{% if revivals %}{{ revived(revivals) }}{% endif %}
{% if inversions %}{{ inverted(inversions, overviews) }}{% endif %}
{% if summary %}{{ summary_tables(summary) }}{% endif %}
{% if suites %}{{ methods(suites) }}{% endif %}
{% if tables %}{{ probes(tables) }}{% endif %}
{% for page in pages %}{{ cell(page) }}{% endfor %}
{{ how_to_read() }}
</main>
<footer>Made by fedunlearn {{ version }} from results.json. Everything on this page is in this one file.</footer>
</body>
</html>
"""
