// Records what the Go libraries behind Argo's expressions and schedules give, as tables that the tests of the crates `expr` and
// `engine` compare with.
//
//	go run . expressions > expressions.tsv
//	go run . conditions  > conditions.tsv
//	go run . schedules   > schedules.tsv
//
// A row is: the text as a JSON string, the outcome, and the message of a failure as a JSON string.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run . expressions|conditions|schedules")
		os.Exit(64)
	}
	switch os.Args[1] {
	case "expressions":
		expressions()
	case "conditions":
		conditions()
	case "schedules":
		schedules()
	default:
		fmt.Fprintln(os.Stderr, "unknown table", os.Args[1])
		os.Exit(64)
	}
}

func quoted(text string) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

var seen = map[string]bool{}

func row(text, outcome, message string) {
	if seen[text] {
		return
	}
	seen[text] = true
	fmt.Printf("%s\t%s\t%s\n", quoted(text), outcome, quoted(message))
}
