"""Other ways to write a definition: step lists, graphs and service steps, compiled to Amazon States Language."""
