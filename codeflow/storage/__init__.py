"""Bytes on disk and on object stores: write and rename, locks, manifests, transfer."""
