"""Turn state into what people look at: tables, JSON documents, progress."""
