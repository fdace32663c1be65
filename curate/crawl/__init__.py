"""Collecting images from the web: finders find addresses, one fetcher fetches them all, and ingest decides."""
