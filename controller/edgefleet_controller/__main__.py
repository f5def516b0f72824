from edgefleet_controller.cli import main

main()
