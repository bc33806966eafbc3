"""What a scan is, whether it is sound, and whether its k-space can have come off a scanner as it is."""
