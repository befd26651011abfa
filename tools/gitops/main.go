// Says what GitOps tools make of Kubernetes objects, with the libraries that the tools use themselves.
//
//	gitops kstatus          as Flux and helm's --wait do, with kstatus
//	gitops argo FILE.lua    as Argo CD does, with a health check written in Lua
//
// Standard input holds objects as JSON, one after the other; for each, standard output gets one line of JSON with
// "status" and "message". An object that cannot be judged ends the program with an error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
)

// health is what a tool makes of an object.
type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// limit is the time that Argo CD gives a script.
const limit = time.Second

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gitops:", err)
		os.Exit(1)
	}
}

func run(arguments []string, objects io.Reader, answers io.Writer) error {
	judge, err := judge(arguments)
	if err != nil {
		return err
	}
	in, out := json.NewDecoder(objects), json.NewEncoder(answers)
	for {
		// Numbers as Kubernetes' own decoder makes them: whole ones are int64, which kstatus insists on.
		var raw json.RawMessage
		if err := in.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(raw); err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		answer, err := judge(&object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
}

func judge(arguments []string) (func(*unstructured.Unstructured) (health, error), error) {
	switch {
	case len(arguments) == 1 && arguments[0] == "kstatus":
		return kstatus, nil
	case len(arguments) == 2 && arguments[0] == "argo":
		script, err := os.ReadFile(arguments[1])
		if err != nil {
			return nil, err
		}
		return func(object *unstructured.Unstructured) (health, error) { return argo(object, string(script)) }, nil
	default:
		return nil, errors.New("say 'kstatus', or 'argo' and the file of a health check")
	}
}

func kstatus(object *unstructured.Unstructured) (health, error) {
	result, err := status.Compute(object)
	if err != nil {
		return health{}, err
	}
	return health{result.Status.String(), result.Message}, nil
}

// argo runs a health check of argocd-cm as Argo CD's util/lua does: a global obj, the libraries package, base and table
// and no other (no string, no math), a second at most, and a table with status and message in return.
// What is being deleted never reaches the script: Argo CD judges it first.
func argo(object *unstructured.Unstructured, script string) (health, error) {
	if object.GetDeletionTimestamp() != nil {
		return health{"Progressing", "Pending deletion"}, nil
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
	} {
		call := lua.P{Fn: state.NewFunction(library.open), Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return health{}, err
		}
	}
	context, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	state.SetContext(context)

	plain, err := object.MarshalJSON()
	if err != nil {
		return health{}, err
	}
	value, err := luajson.Decode(state, plain)
	if err != nil {
		return health{}, err
	}
	state.SetGlobal("obj", value)
	if err := state.DoString(script); err != nil {
		return health{}, err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return health{}, fmt.Errorf("the script returns a %s, not a table", returned.Type())
	}
	encoded, err := luajson.Encode(returned)
	if err != nil {
		return health{}, err
	}
	var answer health
	if err := json.Unmarshal(encoded, &answer); err != nil {
		return health{}, err
	}
	switch answer.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended":
		return answer, nil
	default:
		// Argo CD shows "Unknown" for Missing and the like, which no check of ours may say.
		return health{}, fmt.Errorf("the script says %q, which is no health", answer.Status)
	}
}
