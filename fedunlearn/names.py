"""Names of branches that several rooms have to know."""

TRUNK = "trunk"  # ordinary training, up to the first request
CONTROLS = ("control", "placebo")  # nothing that an attack looks for happened there
