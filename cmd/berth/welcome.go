package main

import (
	"fmt"
	"io"

	"berth/auth"
)

// printWelcome tells whoever starts a registry for the first time how to go on.
// It is the one time that the password is seen.
func printWelcome(w io.Writer, addr string, password auth.Secret) {
	fmt.Fprintf(w, `
admin password: %[2]s

Try:
  docker login -u admin %[1]s
  docker tag IMAGE %[1]s/IMAGE && docker push %[1]s/IMAGE
  docker search %[1]s/

`, addr, password.Reveal())
}
