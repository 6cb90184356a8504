// Package lang holds the words of the server's language: how names and constants are written so that they mean the same
// in every sql_mode, the modes in which ddb's own sessions run, and what the numbers of the server's errors say.
//
// It owns nothing and knows no other package of the engine. Whoever needs an error's number finds it here, under the
// name that the server's manual has for it.
package lang
