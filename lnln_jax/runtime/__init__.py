"""What has nothing to do with images: files, processes, distribution, caches, extras."""
