// gorilla/securecookie, encrypting and signing, over the JSON files named on the command line.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gorilla/securecookie"
)

const times = 20000

type data struct {
	UserID uint64 `json:"user_id"`
	Name   string `json:"name"`
	Email  string `json:"email"`
	Role   string `json:"role"`
	CSRF   string `json:"csrf"`
	Cart   uint32 `json:"cart"`
	Text   string `json:"text,omitempty"`
}

func microseconds(work func()) float64 {
	for i := 0; i < times/10; i++ {
		work()
	}
	start := time.Now()
	for i := 0; i < times; i++ {
		work()
	}
	return float64(time.Since(start).Nanoseconds()) / 1000 / times
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	codec := securecookie.New(securecookie.GenerateRandomKey(32), securecookie.GenerateRandomKey(32))
	codec.SetSerializer(securecookie.JSONEncoder{})
	// It would refuse the largest session, which encodes to more than a cookie holds.
	codec.MaxLength(0)
	for _, file := range os.Args[1:] {
		text, err := os.ReadFile(file)
		check(err)
		var in, out data
		check(json.Unmarshal(text, &in))
		sealed, err := codec.Encode("session", in)
		check(err)
		check(codec.Decode("session", sealed, &out))
		if in != out {
			panic("it does not come back")
		}
		open := microseconds(func() { check(codec.Decode("session", sealed, &out)) })
		seal := microseconds(func() { _, err := codec.Encode("session", in); check(err) })
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		fmt.Printf("| gorilla/securecookie | %s | %.2f | %.2f | %d |\n", name, open, seal, len(sealed))
	}
}
