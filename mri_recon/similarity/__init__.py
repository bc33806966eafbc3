"""Structural similarity of images, compiled."""
