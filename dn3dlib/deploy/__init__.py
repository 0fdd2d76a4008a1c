"""Out of one machine: the same training on hired computers; a trained network in other formats, and a run as one file to share."""

from dn3dlib.quiet import quiet_when_imported

quiet_when_imported("tensorflow")  # a job is planned without it
