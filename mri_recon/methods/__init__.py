"""Reconstruction methods, one a file; `mri_recon.catalog.METHODS` lists them."""
