"""``python -m mri_recon`` is ``mri-recon``."""

from mri_recon.cli.main import main

if __name__ == "__main__":
    main()
