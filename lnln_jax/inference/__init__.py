"""Upscaling with a network or by bicubic interpolation, in tiles, of photos, exported."""
