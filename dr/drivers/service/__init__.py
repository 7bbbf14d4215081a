"""The prediction service as a provider: put to work on what was restored, and asked."""
