"""How fast the engines are, beside their peers and beside what memory allows."""
