package bucket

import (
	"encoding/json"
	"errors"
	"strings"
)

// state is what Mark and Suspend return, as JSON.
type state struct {
	Size int64 `json:"size"`
	// Sent bytes of them are in Parts, the driver's own state.
	Sent  int64  `json:"sent"`
	Parts []byte `json:"parts,omitempty"`
	// Tail holds the rest: what follows the key in its name. Before is the
	// tail of the state before, which is not needed any more.
	Tail   string `json:"tail,omitempty"`
	Before string `json:"before,omitempty"`
	// Marked names a mark of the writer. There is no tail then, nor anything else.
	Marked string `json:"marked,omitempty"`
}

func parseState(data []byte) (st state, err error) {
	if err := json.Unmarshal(data, &st); err != nil {
		return st, errors.New("the state is not readable")
	}
	rest := st.Size - st.Sent
	switch {
	case st.Marked != "":
	case st.Sent < 0 || rest < 0 || rest > wholeMemory || st.Sent > 0 && len(st.Parts) == 0, !strings.HasPrefix(st.Tail, "!"):
		return st, errors.New("the state is none")
	}
	return st, nil
}
