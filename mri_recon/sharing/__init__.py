"""Work shared out among processes and machines; nothing here knows MRI."""
