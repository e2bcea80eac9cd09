// The same counting for this test program.
#include "compute/counted_new.cpp"
