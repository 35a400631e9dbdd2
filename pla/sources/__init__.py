"""Where usage history and live samples come from: one adapter per kind of database."""
