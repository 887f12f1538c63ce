"""`python -m rasa_hybrid.commands` is `rasa-hybrid` where scripts are not on the PATH."""

from rasa_hybrid.commands import main

main()
