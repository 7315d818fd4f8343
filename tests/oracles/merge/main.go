// Prints, for each case of cases.txt, what apimachinery's strategic merge makes of it. `go run . < cases.txt > table.jsonl`
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

type row struct {
	Name     string          `json:"name"`
	Schema   string          `json:"schema"`
	Original json.RawMessage `json:"original"`
	Patch    json.RawMessage `json:"patch"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    string          `json:"error,omitempty"`
}

var schemas = map[string]any{
	"Container":        core.Container{},
	"PodSpec":          core.PodSpec{},
	"Template":         template{},
	"Workflow":         workflow{},
	"ArtifactLocation": Location{},
}

// A case is four lines: `<schema>: <name>`, the original, the patch, an empty line.
func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	next := func() string {
		if !in.Scan() {
			return ""
		}
		return in.Text()
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for {
		title := next()
		if title == "" {
			return
		}
		original, patch := next(), next()
		next()
		schema, name, _ := strings.Cut(title, ": ")
		of, known := schemas[schema]
		if !known || !json.Valid([]byte(original)) || !json.Valid([]byte(patch)) {
			fmt.Fprintln(os.Stderr, "bad case:", title)
			os.Exit(1)
		}
		r := row{Name: name, Schema: schema, Original: json.RawMessage(original), Patch: json.RawMessage(patch)}
		result, err := strategicpatch.StrategicMergePatch([]byte(original), []byte(patch), of)
		if err != nil {
			r.Error = err.Error()
		} else {
			r.Result = result
		}
		if err := out.Encode(r); err != nil {
			panic(err)
		}
	}
}
