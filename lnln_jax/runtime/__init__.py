"""Files, processes, distribution, caches, extras: nothing of it knows of images."""
