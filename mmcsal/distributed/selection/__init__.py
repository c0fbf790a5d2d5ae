"""The selection's steps as Ray tasks, and what a killed one kept. The steps themselves are in `mmcsal.selection`."""
