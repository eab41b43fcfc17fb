// tokenizers
