"""Names of branches that several rooms have to know."""

TRUNK = "trunk"  # ordinary training, up to the first request
RETRAINED = ("retrain", "retrain-other-init")  # what a perfect method would have left
ABSENT = "absent"  # nothing was requested, and yet a class stays away for a while
CONTROLS = ("control", "placebo", ABSENT)  # nothing that an attack looks for happened there
PROBE = "probe-"  # how the branches begin that hold one watched round each
PROBES = "probes"  # all of them, where a scenario lists branches
