"""State to what people look at: tables, JSON documents, progress."""
