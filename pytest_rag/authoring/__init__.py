"""Cases written with help: proposed from documents, captured from a pipeline, looked through."""
