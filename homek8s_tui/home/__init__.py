"""The declared home: its inventory, what is downloaded for it, and where this program keeps its files."""
