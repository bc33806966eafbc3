"""File formats beside fastMRI's: one file each, and one line in `mri_recon.catalog.FORMATS`."""
