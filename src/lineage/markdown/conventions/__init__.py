"""The conventions by which agents keep memory in files, each behind one interface."""
