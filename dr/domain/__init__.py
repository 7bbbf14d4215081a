"""The words of the field as frozen types, and the errors. Imported by every layer; imports none."""
