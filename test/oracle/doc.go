// Package oracle compares what berth makes of a configuration with what
// Distribution does, where Distribution is right. It is a module of its own so
// that berth does not depend on Distribution.
package oracle
