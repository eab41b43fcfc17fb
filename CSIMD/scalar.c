int csimd_placeholder(void); int csimd_placeholder(void) { return 0; }
