"""The models' folders: manifests, and weights that are fetched, converted and verified."""
