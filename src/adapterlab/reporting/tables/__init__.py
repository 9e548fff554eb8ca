"""Tables: for the terminal, pages, spreadsheets and pandas."""
