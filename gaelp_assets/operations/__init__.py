"""What people do to a running platform: deploy, replay, status, export. Each is a function of a `Platform`; the command line prints."""
