// Package progress shows people what a bring-up is doing.
//
// It exists because a bring-up that is silent for minutes is one that gets
// interrupted. On a terminal every running stage has a live line; anywhere else
// (a pipe, CI) each stage that ends is one plain line. It may import only
// framework/stage.
package progress
