"""The workers: what runs on GPU and storage replicas. Never imports serve_app."""
