"""State to what people look at: tables, text, JSON documents."""
