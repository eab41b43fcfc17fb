// filled by the format readers
